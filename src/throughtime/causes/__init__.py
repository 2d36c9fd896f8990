"""What shrank the gradient: factors and paths."""
