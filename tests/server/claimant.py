"""Claims what is missing of a dataset, loads it and records it, until nothing is left; run as a process.

    python -m tests.server.claimant URL DATASET FOLDER NAME SEED STALLS

The files in FOLDER are shared by all claimants, who add whole lines to them, also where they are killed:
`granted` has the period, the claim, from when and until when; `loads`, which is the storage, `returned`,
`refused` and `late`, where another had recorded it, have the period and the claim. STALLS is 1 where the
first claim is left to run out.
"""

import os
import random
import sys
import time
from pathlib import Path

from observatory import Conflict, DatasetRelease, ObservatoryApi
from observatory.client.claims import ClaimedReleases

SECONDS = 1  # for which claims last
MOST = 4  # periods of a claim


class Claimant:
    """One that loads; what it does next is drawn from its seed."""

    def __init__(self, url: str, dataset: int, folder: Path, name: str, seed: int) -> None:
        self.api = ObservatoryApi(url)
        self.dataset, self.folder, self.name = dataset, folder, name
        self.random = random.Random(seed)

    def work(self, stalls: bool) -> None:
        """Works until nothing is missing; what others hold may be free again when their time is over."""
        while True:
            claim = self.claim()
            if claim.claim is None:
                if not self.api.count_missing(dataset_id=self.dataset):
                    return
                time.sleep(0.1)
            elif stalls or self.random.random() < 0.05:
                self.stall(claim)
            else:
                self.load(claim)
            stalls = False

    def claim(self) -> ClaimedReleases:
        limit = self.random.randint(1, MOST)
        claim = self.api.claim_releases(self.dataset, limit, holder=self.name, seconds=SECONDS)
        for release in claim.releases:
            assert claim.claim
            self.note("granted", release, claim, claim.claim.created, claim.claim.until)
        return claim

    def load(self, claim: ClaimedReleases) -> None:
        """Loads what was claimed, as a user would; a few fail, and are given back."""
        with claim:
            for release in claim.releases:
                time.sleep(self.random.uniform(0, 0.1))
                if self.random.random() < 0.05:
                    self.note("returned", release, claim)
                    self.give_back(release, claim)
                else:
                    self.record(release, claim)

    def stall(self, claim: ClaimedReleases) -> None:
        """Does not renew its claim, and goes on once another has it, as if nothing were the matter."""
        mine = {release.start_date for release in claim.releases}
        until = time.monotonic() + 5 * SECONDS  # it may be the only one that is left
        while time.monotonic() < until:
            time.sleep(0.2)
            missing = self.api.get_missing(dataset_id=self.dataset)
            if not any(one.start_date in mine and one.claim_id in (None, claim.id) for one in missing):
                break
        for release in claim.releases:
            self.record(release, claim)

    def record(self, release: DatasetRelease, claim: ClaimedReleases) -> None:
        self.note("loads", release, claim)
        release.extras = {"claim": claim.claim and claim.claim.id}
        try:
            there = self.api.post_dataset_release(release, claim=claim.claim)
        except Conflict:
            self.note("refused", release, claim)
        else:
            if there.extras != release.extras:  # it is another's, and was answered as it is
                self.note("late", release, claim)

    def give_back(self, release: DatasetRelease, claim: ClaimedReleases) -> None:
        try:
            claim.fail(release, "no disk", retry_after=0)
        except Conflict:
            self.note("refused", release, claim)

    def note(self, file: str, release: DatasetRelease, claim: ClaimedReleases, *more: object) -> None:
        """Adds a line in one call of the system, so that it is there whole or not at all."""
        assert claim.claim
        line = "\t".join(map(str, [release.start_date, claim.claim.id, *more])) + "\n"
        at = os.open(self.folder / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(at, line.encode())
        os.close(at)


if __name__ == "__main__":
    url, dataset, folder, name, seed, stalls = sys.argv[1:]
    Claimant(url, int(dataset), Path(folder), name, int(seed)).work(stalls == "1")
