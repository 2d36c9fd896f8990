"""What shrank the gradient: factors, paths, findings."""
