-- Store an artifact for a while; a repeat stores the same again.
-- KEYS: the artifact
-- ARGV: how long (ms), its name, its type, its bytes
redis.call('HSET', KEYS[1], 'name', ARGV[2], 'type', ARGV[3], 'raw', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
