-- Goes in front of scripts that change a role: tells all replicas, and writes the audit, which keeps
-- about the newest hundred thousand entries.
local function role_changed(version, audit, fields)
  redis.call('INCR', version)
  redis.call('PUBLISH', 'access:changed', '')
  redis.call('XADD', audit, 'MAXLEN', '~', 100000, '*', unpack(fields))
end
