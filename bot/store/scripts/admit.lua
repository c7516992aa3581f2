-- Runs every command that a host uses, on keys of a line that nobody has, and touches a key of each
-- kind. ARGV: names of keys. Returns what the store refuses: {"command" or "key", its name, why} …
local refused = {}
local function try(command, ...)
  local found = redis.pcall(command, ...)
  local why = type(found) == 'table' and found.err
  if not why or string.find(why, 'WRONGTYPE', 1, true) or string.find(why, 'no such key', 1, true) then
    return
  end
  if string.find(why, ' key', 1, true) then
    local key = command == 'XINFO' and select(2, ...) or (...)
    refused[#refused + 1] = {'key', key, why}
  else
    refused[#refused + 1] = {'command', command, why}
  end
end
local SCRATCH = '{admission}:'
local text, hash, stream, zset =
  SCRATCH .. 'lease', SCRATCH .. 'moved', SCRATCH .. 'inbox', SCRATCH .. 'timers'
local list = SCRATCH .. 'history'
local COMMANDS = {
  {'SET', text, '1', 'PX', 60000}, {'GET', text}, {'MGET', text}, {'STRLEN', text}, {'TYPE', text},
  {'INCR', text}, {'EXISTS', text}, {'EXPIRE', text, 60}, {'PEXPIRE', text, 60000}, {'PTTL', text}, {'PEXPIREAT', text, 9999999999999},
  {'HSET', hash, 'a', '1'}, {'HSETNX', hash, 'b', '1'}, {'HGET', hash, 'a'}, {'HMGET', hash, 'a'},
  {'HGETALL', hash}, {'HINCRBY', hash, 'a', 1}, {'HLEN', hash}, {'HEXISTS', hash, 'a'},
  {'HDEL', hash, 'b'}, {'XADD', stream, '*', 'a', '1'}, {'XRANGE', stream, '-', '+'},
  {'XREVRANGE', stream, '+', '-'}, {'XREAD', 'STREAMS', stream, '0'}, {'XLEN', stream}, {'XINFO', 'STREAM', stream},
  {'XDEL', stream, '1-1'}, {'ZADD', zset, 1, 'a'}, {'ZCARD', zset}, {'ZSCORE', zset, 'a'},
  {'ZRANGE', zset, 0, -1}, {'ZRANGEBYSCORE', zset, 0, 1}, {'ZREM', zset, 'b'},
  {'ZREMRANGEBYSCORE', zset, 5, 5}, {'SADD', SCRATCH .. 'known', 'a'},
  {'SREM', SCRATCH .. 'known', 'a'}, {'SMEMBERS', SCRATCH .. 'known'}, {'SCAN', '0', 'COUNT', 1},
  {'RPUSH', list, 'a'}, {'LLEN', list}, {'LRANGE', list, 0, -1}, {'LTRIM', list, -1, -1},
  {'TIME'}, {'GETDEL', text}, {'DEL', text, hash, stream, zset, list},
}
for _, command in ipairs(COMMANDS) do try(unpack(command)) end
for _, key in ipairs(ARGV) do try('HDEL', key, 'admission') end
return refused
