"""What a checkout needs beside the package: the demo, a local stack, sample data. Not in the wheel."""
