"""How much may go wrong before a job fails: a count, or a share of the rows read."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from airflow_provider_capillary.exceptions import ConfigurationError


class Budget(msgspec.Struct, frozen=True):
    """``count`` rows, or ``share`` (0..1) of all rows read; exactly one of them is set."""

    text: str  #: as the user wrote it
    count: int | None = None
    share: Fraction | None = None

    def exceeded(self, rows: int, rows_read: int) -> bool:
        """Whether ``rows`` is more than the budget allows of ``rows_read``."""
        limit = self.count if self.count is not None else (self.share or 0) * rows_read
        return rows > limit


def parse_budget(name: str, value: int | str) -> Budget:
    """Read ``5`` or ``"5"`` (rows) or ``"5%"`` (share of rows read).

    :param name: the argument's name, for the error.
    :raises ConfigurationError: the value is neither.
    """
    text = str(value).strip()
    try:
        if isinstance(value, (bool, float)):
            raise ValueError
        if text.endswith("%"):
            share = Fraction(text[:-1].strip()) / 100  # exact: 29% of 100 rows are 29 rows
            if not 0 <= share <= 1:
                raise ValueError
            return Budget(text, share=share)
        count = int(text)
        if count < 0:
            raise ValueError
        return Budget(text, count=count)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(
            f"{name} is {value!r}; it may be a number of rows such as 100, or a share of the rows such as '5%'"
        ) from None
