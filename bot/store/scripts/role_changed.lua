-- Put in front of the scripts that change a grant: all replicas hear of it, and the audit has it.
-- The audit keeps the newest hundred thousand entries, and up to a node of its stream more.
local function role_changed(version, audit, fields)
  redis.call('INCR', version)
  redis.call('PUBLISH', 'access:changed', '')
  redis.call('XADD', audit, 'MAXLEN', '~', 100000, '*', unpack(fields))
end
