-- Remove a part that was sent, or that may be left out.
-- KEYS: fence, outbox, failing, then open and inbox where the part belongs to a turn, or the log of a
--   turn whose history said that it was not delivered
-- ARGV: token, part, entry, then what history says now
local log = ARGV[4] and KEYS[4]
if not end_part(KEYS[2], ARGV[2], KEYS[3], not log and KEYS[4], KEYS[5], ARGV[3]) then return 0 end
if log then redis.call('XADD', log, '*', 'k', 'delivered', 'b', ARGV[4]) end
return 1
