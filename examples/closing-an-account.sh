#!/bin/sh
# A bank's customer closes her account and asks to be forgotten: she gets everything that is held of her, it is erased, and not
# even last night's backup brings her back. Works in a directory of its own, which it removes.
#
#   sh examples/closing-an-account.sh        with dist/warp, or with the program in $WARP
set -eu
cd "$(dirname "$0")/.."

warp=${WARP:-dist/warp}
app=examples/banking.ts
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT

# Prints a command as one would type it, then runs it.
run() {
  printf '\n$ warp'
  for word in "$@"; do printf ' %s' "$word" | sed "s#$home/##"; done
  printf '\n'
  $warp "$@"
}

# A command that has to fail, with this code.
refused() {
  code=$1
  shift
  if run "$@" 2>"$home/refused"; then
    echo "it should have been refused with $code" >&2
    exit 1
  fi
  cat "$home/refused"
  grep -q "$code" "$home/refused"
}

bank="--data $home/bank --app $app"
for who in alice bob; do
  run append $who Opened "{\"owner\":\"$who\",\"overdraftCents\":0}" $bank
  run send $who credit '{"cents":5000,"ref":"salary"}' $bank
done
run send alice debit '{"cents":1200,"ref":"rent"}' $bank

# The root key is kept apart from the backups.
cp "$home/bank/root.key" "$home/root.key"
run backup "$home/nightly" --data "$home/bank"

run export alice --to "$home/alice.ndjson" $bank
grep -q '"ref":"rent"' "$home/alice.ndjson"
run delete alice --reason art-17 --by ticket-4711 $bank
refused ERASED append alice Credited '{"cents":1,"ref":"late"}' --data "$home/bank" --app "$app"
run erasures ls --data "$home/bank"

# The disk burns. Last night's backup knew her; the next one, after her deletion, has forgotten her key.
run backup "$home/nightly" --data "$home/bank"
rm -r "$home/bank"
run restore "$home/nightly" --to "$home/restored" --root-key-file "$home/root.key"
restored="--data $home/restored --app $app --root-key-file $home/root.key"
run check "$home/restored" --root-key-file "$home/root.key"
run get bob $restored
run entities $restored
refused ERASED append alice Credited '{"cents":1,"ref":"late"}' $restored
