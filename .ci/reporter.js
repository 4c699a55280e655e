// What mocha prints by itself, and then one line that programs can read: "N passed, N failed".

import mocha from 'mocha';

class CountingReporter extends mocha.reporters.Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures } = this.stats;
    process.stdout.write(`${passes} passed, ${failures} failed\n`);
  }
}

// The name under which `require`, as mocha does it, finds what an ES module is.
export { CountingReporter as 'module.exports' };
