"""What decided gates tell: shares with their intervals, times, and what another threshold would have done.

Pure: `signoff.store.queries_insights` reads the rows, the pages draw what comes out.
"""
