-- Remove a part that was sent, or that may be left out.
-- KEYS: fence, outbox, then open and inbox where the part belongs to a turn   ARGV: token, part, entry
return end_part(KEYS[2], ARGV[2], KEYS[3], KEYS[4], ARGV[3]) and 1 or 0
