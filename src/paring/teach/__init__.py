"""The teacher's answers, asked for once and kept on disk."""
