-- Append notices, once for each key. Needs no fence: anybody may have something to say.
-- `f` tells whether the line had an owner, who may then have begun to send at once.
-- KEYS: outbox, key, lease   ARGV: lifetime of the key (s), then parts
local ids = {}
if not redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[1]) then return ids end
local owned = redis.call('EXISTS', KEYS[3])
for i = 2, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'p', ARGV[i], 'f', owned)
end
return ids
