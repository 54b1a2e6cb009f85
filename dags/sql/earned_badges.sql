-- The badges that customers earned from :date_from on, and before :date_to. One row each, in a fixed order.
--
-- The same text runs on SQLite, PostgreSQL and DuckDB: the calendar spares us the date functions, in which they differ.
-- The two dates are bound parameters, never put into the text; chosen_badges.sql writes them as the driver wants them.
-- Everything is read from the beginning, because "third purchase" and "100 dollars in all" need the whole history.
with ordered as (
    select
        p.customer_id,
        p.purchased_on,
        p.quantity,
        p.amount_cents,
        c.day_number,
        -- purchases of one day stand in the order in which the till wrote them
        row_number() over (partition by p.customer_id, p.purchased_on order by p.purchase_id) as nth_of_day,
        row_number() over (partition by p.customer_id order by p.purchased_on, p.purchase_id) as nth,
        lag(c.day_number) over (partition by p.customer_id order by p.purchased_on, p.purchase_id) as previous_day_number,
        sum(p.amount_cents) over (
            partition by p.customer_id order by p.purchased_on, p.purchase_id rows unbounded preceding
        ) as spent_cents
    from purchases p
    join calendar c on c.day = p.purchased_on
    where p.purchased_on < :date_to
),
earned as (
    select 'first_purchase' as badge, o.* from ordered o where o.nth = 1
    union all
    select 'third_purchase', o.* from ordered o where o.nth = 3
    union all
    select 'tenth_purchase', o.* from ordered o where o.nth = 10
    union all
    -- five or more at once, each time
    select 'big_basket', o.* from ordered o where o.quantity >= 5
    union all
    -- the purchase that brought the customer to 100 dollars in all
    select 'century', o.* from ordered o where o.spent_cents >= 10000 and o.spent_cents - o.amount_cents < 10000
    union all
    -- back after half a year
    select 'comeback', o.* from ordered o where o.day_number - o.previous_day_number >= 180
)
select
    b.badge_meta_id,
    cast(k.capillary_customer_id as text) as customer_id,
    -- the warehouse knows the day only: noon UTC, and one minute later for each further purchase of that day
    e.purchased_on || 'T12:' || substr(cast(99 + e.nth_of_day as text), 2) || ':00+00:00' as earn_event_date,
    d.year_later || 'T12:' || substr(cast(99 + e.nth_of_day as text), 2) || ':00+00:00' as earn_expires_on,
    e.badge as note
from earned e
join badges b on b.name = e.badge
join customers k on k.customer_id = e.customer_id
join calendar d on d.day = e.purchased_on
where e.purchased_on >= :date_from
union all
-- what branches keyed in by hand: text throughout, which is why the ids above are cast
select x.badge_meta_id, x.customer_id, x.earn_event_date, x.earn_expires_on, x.note
from badge_corrections x
where x.recorded_on >= :date_from and x.recorded_on < :date_to
order by customer_id, earn_event_date, badge_meta_id, note
