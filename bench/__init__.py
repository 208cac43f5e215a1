"""What `cmg-jax bench` measures. Every time is a median; what is compared is measured in turn in one process."""
