-- Post a person's card to a line. Needs no fence: each person gets one.
-- KEYS: request, outbox, lease, lines:stirred, lines:stirs   ARGV: person, line, parts
-- Returns the last outbox id, or '' where the person has a card, or the request is not open.
if redis.call('HGET', KEYS[1], 'role') ~= '' then return '' end
if redis.call('HSETNX', KEYS[1], 'to:' .. ARGV[1], ARGV[2]) == 0 then return '' end
local owned, id = redis.call('EXISTS', KEYS[3]), ''
for i = 3, #ARGV do
  id = redis.call('XADD', KEYS[2], '*', 'p', ARGV[i], 'f', owned)
end
notify(KEYS[2], KEYS[4], KEYS[5])
return id
