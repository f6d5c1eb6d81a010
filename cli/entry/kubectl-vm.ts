import './begin.ts';

await import('../main.ts');
