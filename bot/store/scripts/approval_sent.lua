-- Note the message that shows an approval request: after a crash there may be two, after a chat's
-- migration one in another chat. Returns 2 where the request has changed since it was sent, so that
-- the message is out of date.
-- KEYS: fence, approval   ARGV: token, `<chat>:<message>`
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local held = redis.call('HGET', KEYS[2], 'm')
redis.call('HSET', KEYS[2], 'm', held and (held .. ',' .. ARGV[2]) or ARGV[2])
if redis.call('HGET', KEYS[2], 'v') ~= '1' then return 2 end
return 1
