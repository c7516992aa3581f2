-- Something that was allowed for good in a conversation is so no more.
-- KEYS: fence, grants   ARGV: token, name of the grant
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
