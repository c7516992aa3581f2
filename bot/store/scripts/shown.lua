-- A message shows a sheet. After a crash it may be shown twice.
-- KEYS: fence, approval   ARGV: token, message
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local held = redis.call('HGET', KEYS[2], 'm')
redis.call('HSET', KEYS[2], 'm', held and (held .. ',' .. ARGV[2]) or ARGV[2])
return 1
