"""Pods, broker, restarts, logs; standard library only."""
