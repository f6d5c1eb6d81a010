export { failpoint } from '../../crds/failpoint.ts';
