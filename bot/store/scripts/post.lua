-- Post parts, once for a key. Needs no fence: any host may post to any line. `f` says whether the line
-- had an owner, who may then have begun to send at once.
-- KEYS: outbox, key, lease, lines:stirred, lines:stirs   ARGV: lifetime of the key (s), then parts
-- Returns the outbox ids, the same ones again where this was done before.
local ids = {}
local done = redis.call('GET', KEYS[2])
if done then
  for id in string.gmatch(done, '%S+') do ids[#ids + 1] = id end
  return ids
end
local owned = redis.call('EXISTS', KEYS[3])
for i = 2, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'p', ARGV[i], 'f', owned)
end
redis.call('SET', KEYS[2], table.concat(ids, ' '), 'EX', ARGV[1])
if #ids > 0 then notify(KEYS[1], KEYS[4], KEYS[5]) end
return ids
