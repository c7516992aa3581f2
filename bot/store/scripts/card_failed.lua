-- Forget the card that a person was to get over this line: it could not be delivered.
-- KEYS: fence, request   ARGV: token, person, line
if redis.call('HGET', KEYS[2], 'to:' .. ARGV[2]) == ARGV[3] then
  redis.call('HDEL', KEYS[2], 'to:' .. ARGV[2])
end
return 1
