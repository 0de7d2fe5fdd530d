"""Numbers of bytes as people read them."""

BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def format_bytes(number: int) -> str:
    """Show a number of bytes in the largest decimal unit below it: '512 bytes', '1.4 GB'."""
    size = float(number)
    for unit in BYTE_UNITS:
        if size < 1000 or unit == BYTE_UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 10 or unit == BYTE_UNITS[0] else f"{size:.1f} {unit}"
