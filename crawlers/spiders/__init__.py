"""What reads pages."""
