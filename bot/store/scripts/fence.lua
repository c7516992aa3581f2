-- Goes in front of every script of a line's owner. KEYS[1] is the line's fence, ARGV[1] the owner's token.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED ' .. KEYS[1])
end
