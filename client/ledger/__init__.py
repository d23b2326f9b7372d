"""What has left this site: one line a message, chained by hashes, written before the message may leave."""

from client.ledger.book import Book, Ledger
from client.ledger.chain import Entry, Head, Line, Spent

__all__ = ["Book", "Entry", "Head", "Ledger", "Line", "Spent"]
