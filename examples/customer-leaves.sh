#!/bin/sh
# The story of a bank customer, on the command line: she opens an account, uses it, takes her data with her, and leaves. The bank had a
# backup from before. Restored, everybody else is back, and she is not.
#
#   sh examples/customer-leaves.sh [DIRECTORY]
#
# WARP is the command to run, `warp` by default. The directory must not exist; a temporary one is used and removed without it.
set -eu
warp=${WARP:-warp}
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)/bank}
[ $# -gt 0 ] || trap 'rm -rf "$(dirname "$work")"' EXIT
mkdir -p "$work"
cd "$work"
export WARP_DATA="$work/data"
unset WARP_ADDR || true
step() { printf '\n# %s\n' "$1"; }

step "two customers open accounts and use them"
for customer in alice bob; do
  $warp append "$customer" Opened "{\"owner\":\"$customer\"}" --expect none --app "$here/banking.ts"
  $warp append "$customer" Credited '{"cents":5000,"ref":"salary"}' --key salary-2026-11 --app "$here/banking.ts"
  $warp send "$customer" debit '{"cents":1200,"ref":"rent"}' --app "$here/banking.ts"
done

step "the nightly backup"
$warp backup "$work/backup"

step "alice wants everything that is held of her"
$warp export alice --to "$work/alice.ndjson" --app "$here/banking.ts"
tail -n 1 "$work/alice.ndjson"

step "she closes her account: what would go, and then it goes"
$warp delete alice --dry-run --app "$here/banking.ts"
$warp delete alice --reason art-17 --by ticket-4711 --app "$here/banking.ts"

step "nothing brings her back: not a late repeat, not the file system"
if $warp append alice Credited '{"cents":1,"ref":"late"}' --app "$here/banking.ts" 2>"$work/late.txt"; then exit 1; fi
cat "$work/late.txt"
grep -q ERASED "$work/late.txt"
if grep -rq alice "$WARP_DATA"; then echo "her name is still in the data directory"; exit 1; fi
$warp erasures ls
$warp erasures verify

step "the backup takes notice of the erasure, the disk is lost, the backup is restored"
$warp backup "$work/backup"
cp "$WARP_DATA/root.key" "$work/root.key"
rm -rf "$WARP_DATA"
$warp restore "$work/backup" --to "$WARP_DATA" --root-key-file "$work/root.key"
cp "$work/root.key" "$WARP_DATA/root.key"

step "bob is back, alice is not"
$warp get bob --app "$here/banking.ts"
if $warp get alice --app "$here/banking.ts" 2>"$work/gone.txt"; then exit 1; fi
cat "$work/gone.txt"
if grep -rq alice "$WARP_DATA" "$work/backup"; then echo "her name came back"; exit 1; fi
$warp check "$WARP_DATA"
