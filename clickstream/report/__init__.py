"""What the tables say: the report, the proof, one session in detail."""
