import './begin.ts';

await import('../run/main.ts');
