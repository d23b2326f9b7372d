"""What has left this site: one line a message, chained by hashes, written before the message may leave."""
