/** Loaded before everything else. */
import module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// What changes with every edit is not worth keeping: the bundle only. Not in Node's own default, which is in the
// folder for temporary files that all users of a machine share.
if (import.meta.filename.endsWith('.mjs')) {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  module.enableCompileCache(process.env.NODE_COMPILE_CACHE ?? join(cache, 'vmstead', 'node'));
}

if (process.env.VMSTEAD_DEBUG) process.setSourceMapsEnabled(true);
