-- Let a subject ask again: its request was decided, and all that follows from it is done.
-- KEYS: request of the subject   ARGV: nonce
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
