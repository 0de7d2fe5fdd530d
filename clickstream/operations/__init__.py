"""What an operator does by hand: rejected records and positions."""
