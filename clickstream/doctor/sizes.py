"""Sizes in bytes as text."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def format_bytes(number: float) -> str:
    """Show a size in its largest unit, of 1,000 each: '338 MB', '4.5 GB'."""
    size, unit = float(number), 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit and size < 9.95 else f"{size:,.0f} {UNITS[unit]}"
