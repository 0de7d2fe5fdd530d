"""Records taken from their source in blocks instead of one by one."""

from collections.abc import Iterable, Iterator

from clickstream.errors import UserError
from clickstream.simulator.event_json import OutgoingRecord, SimulatedEvent

BLOCK_RECORDS = 500
BLOCK_BYTES = 1 << 20


def in_blocks(
    records: Iterable[OutgoingRecord | SimulatedEvent],
) -> Iterator[OutgoingRecord | SimulatedEvent]:
    """Yield the records unchanged, but read a block of them before its first one is yielded.

    Simulating and sending are large pieces of code. If they took turns for each record, the CPU
    would load both into its caches again and again, which takes half as long as the work itself.
    A block ends at BLOCK_RECORDS records, or when their values have BLOCK_BYTES. A UserError of the
    source is raised after the records before it.
    """
    block: list[OutgoingRecord | SimulatedEvent] = []
    size = 0
    try:
        for record in records:
            block.append(record)
            size += len(record.value or b"")
            if len(block) == BLOCK_RECORDS or size >= BLOCK_BYTES:
                yield from block
                block.clear()
                size = 0
    except UserError:
        yield from block
        raise
    yield from block
