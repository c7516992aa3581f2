-- Settle an entry of a stranger, and tell its chat why, unless it was told lately. A turn that is open
-- for the entry, from before its person became a stranger, ends.
-- KEYS: fence, inbox, outbox, told, open
-- ARGV: token, entry, seconds until it may be told again, then parts
-- Returns {1, outbox ids …}; {0} where nothing is to be said; {-1} where this was done before.
if redis.call('XDEL', KEYS[2], ARGV[2]) == 0 then return {-1} end
delete_turn(KEYS[5], ARGV[2])
if not redis.call('SET', KEYS[4], 1, 'NX', 'EX', ARGV[3]) then return {0} end
local ids = {1}
for i = 4, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
return ids
