/** kubectl's own completion runs this for `kubectl vm <TAB>`. */
import './begin.ts';

process.argv.splice(2, 0, '__complete');
await import('../main.ts');
