-- Close a form.
-- KEYS: fence, forms
-- ARGV: token, the form's name
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
