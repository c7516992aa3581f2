-- Remember the message that shows a growing answer.
-- KEYS: fence, open   ARGV: token, entry, message
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'preview', ARGV[3])
return 1
