-- Note the message that shows a person's card; after a crash there may be two.
-- KEYS: fence, request   ARGV: token, person, message
-- Returns 2 where the request has changed since, so that the message is out of date.
local role = redis.call('HGET', KEYS[2], 'role')
if not role then return 0 end
local name = 'at:' .. ARGV[2]
local held = redis.call('HGET', KEYS[2], name)
redis.call('HSET', KEYS[2], name, held and (held .. ',' .. ARGV[3]) or ARGV[3])
return role ~= '' and 2 or 1
