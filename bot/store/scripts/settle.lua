-- Entries are done; what they have to say goes into the outbox in the same step.
-- KEYS: fence, inbox, outbox   ARGV: token, number of entries, entries, then parts
-- Returns the outbox ids, or nothing if this was done before.
local count = tonumber(ARGV[2])
local gone = 0
for i = 3, count + 2 do
  gone = gone + redis.call('XDEL', KEYS[2], ARGV[i])
end
local ids = {}
if gone == 0 then return ids end
for i = count + 3, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
return ids
