"""The Flink job of the folder flink/: running it on this machine, and comparing its sessions."""
