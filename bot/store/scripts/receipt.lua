-- Remove a part that was sent, or never can be; the last part of a turn ends it.
-- KEYS: fence, outbox, then open and inbox where the part belongs to a turn   ARGV: token, part, entry
if redis.call('XDEL', KEYS[2], ARGV[2]) == 0 then return 0 end
if #KEYS == 4 and redis.call('HGET', KEYS[3], 'entry') == ARGV[3] then
  if redis.call('HINCRBY', KEYS[3], 'left', -1) <= 0 then
    redis.call('DEL', KEYS[3])
    redis.call('XDEL', KEYS[4], ARGV[3])
  end
end
return 1
