-- Revoke a permanent permission of a conversation.
-- KEYS: fence, grants   ARGV: token, name of the grant
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
