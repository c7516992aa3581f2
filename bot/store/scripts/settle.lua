-- Remove entries that are done, and post their replies. A turn that is open for the first of them
-- ends.
-- KEYS: fence, inbox, outbox, then open where there may be a turn
-- ARGV: token, number of entries, entries, then parts
-- Returns the outbox ids, or nothing if this was done before.
local count = tonumber(ARGV[2])
local gone = 0
for i = 3, count + 2 do
  gone = gone + redis.call('XDEL', KEYS[2], ARGV[i])
end
local ids = {}
if gone == 0 then return ids end
if KEYS[4] then delete_turn(KEYS[4], ARGV[3]) end
for i = count + 3, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
return ids
