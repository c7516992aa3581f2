-- Post an admin's card to a line. Needs no fence: each admin gets one.
-- KEYS: request, outbox, lease, lines:stirred, lines:stirs   ARGV: admin, line, part
-- Returns the outbox id, or '' where the admin has a card, or the request is closed.
if redis.call('HGET', KEYS[1], 'role') ~= '' then return '' end
if redis.call('HSETNX', KEYS[1], 'to:' .. ARGV[1], ARGV[2]) == 0 then return '' end
local owned = redis.call('EXISTS', KEYS[3])
local id = redis.call('XADD', KEYS[2], '*', 'p', ARGV[3], 'f', owned)
notify(KEYS[2], KEYS[4], KEYS[5])
return id
