"""What is behind `ferromqtt.once`: handlers whose work and record share one transaction."""
