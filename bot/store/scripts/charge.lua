-- Write records of the ledger for what belongs to no open turn.
-- KEYS: fence   ARGV: token, then kind and body of each record
for i = 2, #ARGV, 2 do check_record(ARGV[i], ARGV[i + 1]) end
for i = 2, #ARGV, 2 do note('', ARGV[i], ARGV[i + 1]) end
return 1
