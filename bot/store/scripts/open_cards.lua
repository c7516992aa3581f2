-- Let cards be posted for an approval request; once more, after a crash, changes nothing.
-- KEYS: cards   ARGV: line of its turn, lifetime (s)
redis.call('HSETNX', KEYS[1], 'role', '')
redis.call('HSET', KEYS[1], 'what', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
